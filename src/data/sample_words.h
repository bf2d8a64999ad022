// The words of the sample shop. A trait has several values and every value several wordings, so
// that the same taste shows in different words.
#pragma once

#include <array>
#include <string_view>

namespace llmcf::data::words {

struct Value {
  std::string_view name;                        // how the README calls it
  std::array<std::string_view, 4> in_title;     // before the product's name
  std::array<std::string_view, 3> in_sentence;  // a sentence of the description
};

inline constexpr std::array<Value, 8> kScents = {{
    {"lavender",
     {"Lavender", "French Lavender", "Lavender & Chamomile", "Evening Lavender"},
     {"Scented with lavender picked in the south of France.",
      "A calm herbal lavender note stays on the skin.",
      "Lavender and chamomile make it a thing for the evening."}},
    {"citrus",
     {"Lemon Zest", "Bergamot", "Sweet Orange", "Grapefruit"},
     {"Smells of freshly peeled citrus fruit.", "Bright with bergamot and lemon oil.",
      "A zesty orange and grapefruit scent wakes you up."}},
    {"vanilla",
     {"Vanilla Bean", "Warm Vanilla", "Vanilla & Tonka", "Sugared Vanilla"},
     {"Sweet with Madagascar vanilla.", "Warm vanilla and tonka bean, soft like a dessert.",
      "A gourmand scent of vanilla and brown sugar."}},
    {"rose",
     {"Rose Petal", "Damask Rose", "Wild Rose", "Rose & Peony"},
     {"With the scent of damask rose.", "A floral bouquet around rose and peony.",
      "Rose water gives it a romantic floral note."}},
    {"woods",
     {"Cedarwood", "Sandalwood", "Vetiver & Oak", "Forest"},
     {"Deep and woody, with cedar and sandalwood.", "Smells like a walk among old trees.",
      "Vetiver and oak moss give it a dry woody base."}},
    {"mint",
     {"Peppermint", "Cool Mint", "Eucalyptus Mint", "Spearmint"},
     {"Peppermint cools and tingles.", "Fresh with eucalyptus and mint.",
      "A minty chill that clears the head."}},
    {"coconut",
     {"Coconut", "Coconut Milk", "Tropical Coconut", "Coconut & Monoi"},
     {"Smells of coconut and beach holidays.", "Creamy coconut milk with a tropical note.",
      "Monoi oil and coconut, sunny and soft."}},
    {"unscented",
     {"Unscented", "Fragrance Free", "Pure", "Zero Scent"},
     {"Contains no fragrance at all.", "Unscented, for people who want to smell of nothing.",
      "Made without perfume or essential oils."}},
}};

inline constexpr std::array<Value, 6> kNeeds = {{
    {"dry",
     {"Hydrating", "Intense Moisture", "Deep Nourishing", "Quenching"},
     {"Made for dry and dehydrated skin and brittle hair.",
      "Shea butter and glycerin hold moisture for hours.",
      "Relieves tightness and flaking overnight."}},
    {"oily",
     {"Oil Control", "Mattifying", "Clarifying", "Shine Free"},
     {"Takes away excess oil without drying out.", "Keeps shine in check all day.",
      "Clay and salicylic acid clear clogged pores."}},
    {"sensitive",
     {"Gentle", "Soothing", "Calming", "Sensitive"},
     {"Tested on sensitive and easily irritated skin.", "Oat and aloe calm redness and itching.",
      "Hypoallergenic, with as few ingredients as possible."}},
    {"mature",
     {"Age Defying", "Firming", "Renewing", "Lifting"},
     {"Peptides and retinol soften fine lines.", "Firms and lifts mature skin.",
      "Restores the density that comes less easily with the years."}},
    {"active",
     {"Sport", "Long Wear", "Sweat Proof", "Endurance"},
     {"Stays on through training, heat and rain.", "Made for people who are always on the move.",
      "Sweat resistant and quick to apply in a locker room."}},
    {"radiance",
     {"Brightening", "Radiance", "Glow", "Luminous"},
     {"Vitamin C evens out the tone and adds glow.", "Leaves a luminous, dewy finish.",
      "For tired faces and dull lengths that need light."}},
}};

inline constexpr std::array<Value, 5> kValues = {{
    {"organic",
     {"Organic", "Botanical", "Wildcrafted", "Plant Based"},
     {"Certified organic and vegan.", "Plants from small farms, nothing else.",
      "Cruelty free, in a jar that composts."}},
    {"luxury",
     {"Prestige", "Couture", "Gold Edition", "Signature"},
     {"Comes in a heavy glass flacon with a gold cap.", "A little luxury for the bathroom shelf.",
      "Composed like haute couture and packed like jewellery."}},
    {"clinical",
     {"Clinical", "Dermatologist", "Advanced", "Pro Formula"},
     {"Developed with dermatologists; proven in two clinical studies.",
      "Active ingredients at percentages stated on the label.",
      "A laboratory formula in a plain tube."}},
    {"budget",
     {"Everyday", "Basics", "Value", "Family"},
     {"Good quality at a small price.", "A large pack for the whole family.",
      "No frills; refills cost even less."}},
    {"playful",
     {"Kawaii", "Party", "Candy", "Rainbow"},
     {"Comes in a cute case with stickers.", "Fun colours that make you smile in the morning.",
      "A playful gift for teens and everybody who feels like one."}},
}};

struct Leaf {
  std::string_view parent, name;
  std::array<std::string_view, 3> products;
  int peak_month;  // 1-12, when it sells best; 0 = the whole year
};

inline constexpr std::array<Leaf, 24> kLeaves = {{
    {"Skin Care", "Moisturizers", {"Day Cream", "Face Lotion", "Gel Cream"}, 1},
    {"Skin Care", "Cleansers", {"Face Wash", "Cleansing Balm", "Cleansing Milk"}, 0},
    {"Skin Care", "Serums", {"Face Serum", "Booster Drops", "Ampoule"}, 0},
    {"Skin Care", "Masks", {"Sheet Mask", "Clay Mask", "Sleeping Mask"}, 11},
    {"Skin Care", "Sun Care", {"Sun Cream SPF 30", "Sun Spray SPF 50", "After Sun Gel"}, 7},
    {"Skin Care", "Eye Care", {"Eye Cream", "Eye Patches", "Eye Gel"}, 0},
    {"Skin Care", "Lip Care", {"Lip Balm", "Lip Butter", "Lip Scrub"}, 1},
    {"Hair Care", "Shampoo", {"Shampoo", "Shampoo Bar", "Dry Shampoo"}, 0},
    {"Hair Care", "Conditioner", {"Conditioner", "Leave-In Conditioner", "Detangler"}, 0},
    {"Hair Care", "Treatments", {"Hair Mask", "Scalp Tonic", "Hair Oil"}, 2},
    {"Hair Care", "Styling", {"Styling Cream", "Hair Spray", "Curl Mousse"}, 6},
    {"Bath & Body", "Shower", {"Shower Gel", "Body Wash", "Shower Foam"}, 6},
    {"Bath & Body", "Bath", {"Bath Salts", "Bath Bomb", "Bubble Bath"}, 12},
    {"Bath & Body", "Body Care", {"Body Lotion", "Body Butter", "Body Oil"}, 1},
    {"Bath & Body", "Hand & Foot", {"Hand Cream", "Foot Balm", "Hand Soap"}, 12},
    {"Bath & Body", "Deodorants", {"Deodorant Stick", "Deodorant Spray", "Deodorant Cream"}, 7},
    {"Fragrance", "Perfume", {"Eau de Parfum", "Perfume Oil", "Solid Perfume"}, 12},
    {"Fragrance", "Body Mist", {"Body Mist", "Hair Mist", "Cologne"}, 5},
    {"Home", "Candles", {"Scented Candle", "Tea Lights", "Pillar Candle"}, 12},
    {"Home", "Room Scents", {"Reed Diffuser", "Room Spray", "Incense Set"}, 11},
    {"Makeup", "Face", {"Tinted Cream", "Primer", "Setting Spray"}, 0},
    {"Makeup", "Lips", {"Tinted Balm", "Lip Gloss", "Lip Oil"}, 5},
    {"Men", "Shaving", {"Shaving Cream", "Aftershave Balm", "Shaving Soap"}, 6},
    {"Men", "Beard", {"Beard Oil", "Beard Balm", "Beard Wash"}, 11},
}};

inline constexpr std::array<std::string_view, 30> kBrandFirst = {
    "Alma",  "Brook", "Cora",   "Dune",   "Elder",  "Fern",  "Gale",  "Haven", "Iris",  "June",
    "Kindl", "Lumen", "Maren",  "Nord",   "Opal",   "Pine",  "Quill", "River", "Sable", "Terra",
    "Umbra", "Vera",  "Willow", "Yarrow", "Zephyr", "Atlas", "Birch", "Coast", "Drift", "Ember"};
inline constexpr std::array<std::string_view, 20> kBrandSecond = {
    "& Co",   "Lab",     "Botanics", "House",      "Atelier", "Works", "Garden",
    "Studio", "Beauty",  "Naturals", "& Sons",     "Paris",   "Tokyo", "Apothecary",
    "Care",   "Rituals", "Goods",    "Essentials", "Line",    "Theory"};
inline constexpr std::array<std::string_view, 10> kSizes = {
    "30 ml",  "50 ml",  "75 ml",  "100 ml",      "150 ml",
    "200 ml", "250 ml", "500 ml", "Travel Size", "Pack of 2"};
inline constexpr std::array<std::string_view, 6> kOpenings = {"A {} from {}.",
                                                              "{} by {}, made in small batches.",
                                                              "The {} that {} is known for.",
                                                              "A new {} in the {} range.",
                                                              "{}: a favourite of {} customers.",
                                                              "An honest {} by {}."};

}  // namespace llmcf::data::words
