#include "llm/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "llm/adapter.h"
#include "llm/device.h"
#include "llm/generator.h"

namespace llmcf::llm {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kLongestSlot = 4096;

constexpr size_t kWholeFile = size_t{64} << 20;  // up to here, all of a file is hashed
constexpr size_t kPart = size_t{64} << 10, kParts = 256;

std::string hash_of_file(const fs::path& path) {
  const MappedFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  if (bytes.size() <= kWholeFile) return hash_hex(bytes);
  std::string parts;
  for (size_t i = 0; i < kParts; ++i)
    parts += hash_hex(bytes.substr(i * ((bytes.size() - kPart) / (kParts - 1)), kPart));
  return hash_hex(parts);
}

}  // namespace

std::string model_identity(const EngineOptions& options) {
  std::string text = options.device + " " + options.dtype + " " + options.chat;
  for (const fs::path& directory : {options.model, options.adapter}) {
    if (directory.empty()) continue;
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (entry.is_regular_file()) files.push_back(entry.path());
    if (error)
      throw InputError(directory.string(), 0,
                       fmt::format("cannot be read: {}; expected a model directory in the Hugging "
                                   "Face layout",
                                   error.message()));
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files)
      text += fmt::format("\n{} {} {}", file.filename().string(), fs::file_size(file),
                          hash_of_file(file));
  }
  return hash_hex(text);
}

struct Engine::Impl {
  struct Asked {
    GenerationRequest request;
    OnText on_text;
    std::promise<Generation> promise;
  };
  struct Embedding {
    std::vector<int32_t> ids;
    std::promise<std::vector<float>> promise;
  };

  explicit Impl(const EngineOptions& options)
      : tokenizer(text::load_language_tokenizer(options.model)),
        chat(chat_template_of(options.chat, options.model, *tokenizer)),
        name(fs::absolute(options.model).lexically_normal().filename().string()) {
    const torch::Device device = device_named(options.device);
    const torch::Dtype dtype = dtype_named(options.dtype, device);
    model = LanguageModel::load(options.model, dtype, device);
    if (!options.adapter.empty()) {
      load_adapter(*model, options.adapter);
      merge_adapter(*model);
    }
    for (auto& [parameter, tensor] : model->parameters())
      tensor.set_requires_grad(false);
    const int64_t capacity = options.capacity != 0
                                 ? options.capacity
                                 : std::min(model->config().max_positions, kLongestSlot);
    generator = std::make_unique<Generator>(
        *model, *tokenizer, GeneratorOptions{.slots = options.slots, .capacity = capacity});
    worker = std::thread([this] { work(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(guard);
      ends = true;
    }
    changed.notify_all();
    worker.join();
  }

  void work() {
    for (;;) {
      std::deque<std::unique_ptr<Asked>> asked;
      std::deque<std::unique_ptr<Embedding>> embeddings_asked;
      {
        std::unique_lock lock(guard);
        const auto busy = [&] { return generator->running() > 0 || generator->waiting() > 0; };
        changed.wait(lock, [&] { return ends || !queue.empty() || !embeddings.empty() || busy(); });
        asked.swap(queue);
        embeddings_asked.swap(embeddings);
      }
      for (auto& one : embeddings_asked)
        one->promise.set_value(embed(one->ids));
      for (auto& one : asked)
        submit(std::move(one));
      if (!generator->step() && ends) return;
    }
  }

  void submit(std::unique_ptr<Asked> asked) {
    const std::shared_ptr<Asked> shared = std::move(asked);
    generator->submit(
        std::move(shared->request),
        [shared](Generation generation) { shared->promise.set_value(std::move(generation)); },
        [this, shared](std::string_view piece) {
          return !ends && (!shared->on_text || shared->on_text(piece));
        });
  }

  std::vector<float> embed(const std::vector<int32_t>& ids) const {
    const torch::NoGradGuard no_gradients;
    std::vector<int64_t> wide(ids.begin(), ids.end());
    const auto count = static_cast<int64_t>(wide.size());
    const torch::Tensor batch =
        at::from_blob(wide.data(), {1, count}, torch::kLong).to(model->device());
    const torch::Tensor mean = model->hidden({batch, {}, {}})[0].to(torch::kFloat).mean(0).cpu();
    const torch::Tensor unit = (mean / mean.norm().clamp_min(1e-12)).contiguous();
    return {unit.data_ptr<float>(), unit.data_ptr<float>() + unit.numel()};
  }

  std::unique_ptr<text::LanguageTokenizer> tokenizer;
  ChatTemplate chat;
  std::string name;
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Generator> generator;  // the worker's, once it runs
  std::mutex guard;
  std::condition_variable changed;
  std::deque<std::unique_ptr<Asked>> queue;
  std::deque<std::unique_ptr<Embedding>> embeddings;
  std::atomic<bool> ends = false;
  std::thread worker;
};

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;

const text::LanguageTokenizer& Engine::tokenizer() const {
  return *impl_->tokenizer;
}
const std::string& Engine::name() const {
  return impl_->name;
}
int64_t Engine::capacity() const {
  return impl_->generator->capacity();
}

std::vector<int32_t> Engine::prompt(const std::vector<Turn>& turns) const {
  return prompt_ids(turns, impl_->chat, *impl_->tokenizer);
}

std::vector<int32_t> Engine::raw_prompt(std::string_view text) const {
  std::vector<int32_t> ids = impl_->tokenizer->encode(text);
  if (const int32_t begin = impl_->model->config().begin_id; begin >= 0)
    ids.insert(ids.begin(), begin);
  return ids;
}

std::future<Generation> Engine::generate(GenerationRequest request, OnText on_text) {
  impl_->generator->check(request);
  auto asked = std::make_unique<Impl::Asked>();
  asked->request = std::move(request);
  asked->on_text = std::move(on_text);
  std::future<Generation> result = asked->promise.get_future();
  {
    const std::lock_guard lock(impl_->guard);
    impl_->queue.push_back(std::move(asked));
  }
  impl_->changed.notify_all();
  return result;
}

std::vector<float> Engine::embed(std::string_view text) {
  auto asked = std::make_unique<Impl::Embedding>();
  asked->ids = impl_->tokenizer->encode(text);
  if (asked->ids.empty()) throw Error("a text to embed is empty");
  if (static_cast<int64_t>(asked->ids.size()) > capacity())
    asked->ids.resize(static_cast<size_t>(capacity()));
  std::future<std::vector<float>> result = asked->promise.get_future();
  {
    const std::lock_guard lock(impl_->guard);
    impl_->embeddings.push_back(std::move(asked));
  }
  impl_->changed.notify_all();
  return result.get();
}

}  // namespace llmcf::llm
