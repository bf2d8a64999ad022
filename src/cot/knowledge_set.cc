// See knowledge_set.h.
#include "cot/knowledge_set.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace llmcf::cot {

namespace {

constexpr const char* kFormat = "llmcf.knowledge/1";
constexpr size_t kEncodeBatch = 4096;
std::string row_tensor(data::Split split) {
  return fmt::format("user_row.{}", data::split_name(split));
}

// Texts by table row; row 0 and rows without a text are empty and become zeros.
std::vector<float> encode_rows(const std::vector<std::string>& texts,
                               const text::Encoder& encoder) {
  const auto width = static_cast<size_t>(encoder.dim());
  std::vector<float> vectors(texts.size() * width, 0.0F);
  for (size_t begin = 0; begin < texts.size(); begin += kEncodeBatch) {
    const size_t end = std::min(begin + kEncodeBatch, texts.size());
    std::vector<std::string_view> views;
    std::vector<size_t> places;
    for (size_t index = begin; index < end; ++index) {
      if (texts[index].empty()) continue;
      views.emplace_back(texts[index]);
      places.push_back(index);
    }
    std::vector<float> out(views.size() * width);
    encoder.encode(views, out);
    for (size_t index = 0; index < places.size(); ++index)
      std::copy_n(out.data() + index * width, width, vectors.data() + places[index] * width);
  }
  return vectors;
}

// Table row of every (user, prefix) that has a text, in that order.
class UserTable {
 public:
  UserTable(const std::vector<KnowledgeText>& texts, const RowResolver& resolver) {
    std::map<std::pair<int32_t, int32_t>, const KnowledgeText*> sorted;
    for (const KnowledgeText& text : texts)
      if (const int32_t user = resolver.user(text.job.user); user > 0)
        sorted.emplace(std::pair(user, text.job.position), &text);
    texts_.emplace_back();
    for (const auto& [key, text] : sorted) {
      rows_.emplace(key, static_cast<int32_t>(texts_.size()));
      texts_.push_back(text->text);
    }
  }

  const std::vector<std::string>& texts() const { return texts_; }
  int32_t row(int32_t user, int32_t prefix) const {
    const auto found = rows_.find({user, prefix});
    return found == rows_.end() ? 0 : found->second;
  }

 private:
  std::map<std::pair<int32_t, int32_t>, int32_t> rows_;
  std::vector<std::string> texts_;
};

std::vector<int32_t> rows_of(const data::Rows& rows, const UserPrefixes& prefixes,
                             const UserTable& table, KnowledgeCounts& counts) {
  std::vector<int32_t> found;
  found.reserve(rows.user.size());
  for (size_t row = 0; row < rows.user.size(); ++row) {
    const int32_t wanted = prefixes.of(rows.user[row], rows.position[row]);
    int32_t prefix = wanted, at = 0;
    while (prefix > 0 && (at = table.row(rows.user[row], prefix)) == 0)
      prefix = prefixes.shorter(prefix);
    if (at > 0 && prefix != wanted) ++counts.rows_shorter;
    if (at == 0 && wanted > 0) ++counts.rows_without;
    found.push_back(at);
  }
  return found;
}

std::string writers(const std::vector<KnowledgeText>& users,
                    const std::vector<KnowledgeText>& items) {
  std::set<std::string> names;
  for (const auto* texts : {&users, &items})
    for (const KnowledgeText& text : *texts)
      names.insert(text.reasoner);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

KnowledgeCounts write_knowledge(Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                                const UserPrefixes& prefixes, const text::Encoder& encoder,
                                const std::filesystem::path& path) {
  const auto users = KnowledgePool(pool, JobKind::kUser).current();
  const auto items = KnowledgePool(pool, JobKind::kItem).current();
  if (users.empty() || items.empty()) {
    throw Error(fmt::format("{}: no text about {}; raise the budget and run the reason stage again",
                            pool.path().string(), users.empty() ? "any user" : "any item"));
  }
  const RowResolver resolver(dataset, rows);
  const UserTable table(users, resolver);
  std::vector<std::string> item_texts(static_cast<size_t>(dataset.num_items()) + 1);
  for (const KnowledgeText& text : items)
    if (const int32_t item = resolver.item(text.job.item); item > 0)
      item_texts[static_cast<size_t>(item)] = text.text;

  KnowledgeCounts counts;
  counts.users = static_cast<int64_t>(table.texts().size()) - 1;
  counts.items_without = std::count(item_texts.begin() + 1, item_texts.end(), "");
  counts.items = dataset.num_items() - counts.items_without;
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  writer.set_metadata("encoder", encoder.fingerprint());
  writer.set_metadata("reasoners", writers(users, items));
  std::vector<std::vector<int32_t>> user_rows;
  for (const data::Split split : data::kAllSplits)
    user_rows.push_back(rows_of(rows.rows(split), prefixes, table, counts));
  for (const data::Split split : data::kAllSplits)
    writer.add(row_tensor(split), user_rows[static_cast<size_t>(split)]);
  const auto user_vectors = encode_rows(table.texts(), encoder);
  const auto item_vectors = encode_rows(item_texts, encoder);
  writer.add<float>("user_vectors", {static_cast<int64_t>(table.texts().size()), encoder.dim()},
                    user_vectors);
  writer.add<float>("item_vectors", {static_cast<int64_t>(item_texts.size()), encoder.dim()},
                    item_vectors);
  writer.set_metadata("rows_with_a_shorter_prefix", std::to_string(counts.rows_shorter));
  writer.set_metadata("rows_without_a_text", std::to_string(counts.rows_without));
  writer.set_metadata("items_without_a_text", std::to_string(counts.items_without));
  writer.write(path);
  return counts;
}

KnowledgeSet::KnowledgeSet(const std::filesystem::path& path)
    : reader_(std::make_unique<SafetensorsReader>(path)) {
  if (const std::string& format = reader_->metadata("format"); format != kFormat)
    throw InputError(path.string(), 0,
                     fmt::format("expected format {}, found {}", kFormat, format));
  users_ = reader_->get<float>("user_vectors", {-1, -1});
  width_ = reader_->tensor("user_vectors").shape[1];
  items_ = reader_->get<float>("item_vectors", {-1, width_});
}

std::span<const int32_t> KnowledgeSet::user_row(data::Split split) const {
  return reader_->get<int32_t>(row_tensor(split), {-1});
}

}  // namespace llmcf::cot
