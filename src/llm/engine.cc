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
#include "core/log.h"
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
    OnDone on_done;
    OnText on_text;
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
      std::deque<std::packaged_task<void()>> tasks_asked;
      {
        std::unique_lock lock(guard);
        const auto busy = [&] { return generator->running() > 0 || generator->waiting() > 0; };
        changed.wait(lock, [&] { return ends || !queue.empty() || !tasks.empty() || busy(); });
        asked.swap(queue);
        tasks_asked.swap(tasks);
      }
      for (auto& task : tasks_asked)
        task();
      for (auto& one : asked)
        submit(std::move(one));
      try {
        if (!generator->step() && ends) return;
      } catch (
          const std::exception& error) {  // out of memory on a device, say: others may still fit
        log::error("language model {}: {}; what ran is cancelled", name, error.what());
        generator->cancel_all();
      }
    }
  }

  void submit(std::unique_ptr<Asked> asked) {
    const std::shared_ptr<Asked> shared = std::move(asked);
    generator->submit(
        std::move(shared->request),
        [shared](Generation generation) { shared->on_done(std::move(generation)); },
        [this, shared](std::string_view piece) {
          return !ends && (!shared->on_text || shared->on_text(piece));
        });
  }

  // Runs `work` on the worker and waits for it.
  void run(const std::function<void()>& work_item) {
    std::packaged_task<void()> task(work_item);
    std::future<void> done = task.get_future();
    {
      const std::lock_guard lock(guard);
      tasks.push_back(std::move(task));
    }
    changed.notify_all();
    done.get();
  }

  torch::Tensor states(const std::vector<int32_t>& ids) const {
    std::vector<int64_t> wide(ids.begin(), ids.end());
    const auto count = static_cast<int64_t>(wide.size());
    return model->hidden(
        {at::from_blob(wide.data(), {1, count}, torch::kLong).to(model->device()), {}, {}})[0];
  }

  // One pass over the prompt where all continuations are single tokens, else one for each.
  std::vector<double> log_likelihoods(
      const std::vector<int32_t>& prompt,
      const std::vector<std::vector<int32_t>>& continuations) const {
    const torch::NoGradGuard no_gradients;
    const auto P = static_cast<int64_t>(prompt.size());
    std::vector<double> result;
    torch::Tensor last;
    for (const auto& continuation : continuations) {
      const auto n = static_cast<int64_t>(continuation.size());
      torch::Tensor rows = last;
      if (n > 1 || !last.defined()) {
        std::vector<int32_t> ids = prompt;
        ids.insert(ids.end(), continuation.begin(), continuation.end() - 1);
        rows = model->logits(states(ids).narrow(0, P - 1, n)).log_softmax(1).cpu();
        last = rows.narrow(0, 0, 1);
      }
      double sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += rows[i][continuation[static_cast<size_t>(i)]].item<double>();
      result.push_back(sum);
    }
    return result;
  }

  std::vector<float> embed(const std::vector<int32_t>& ids) const {
    const torch::NoGradGuard no_gradients;
    const torch::Tensor mean = states(ids).to(torch::kFloat).mean(0).cpu();
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
  std::deque<std::packaged_task<void()>> tasks;  // what is asked of the model itself
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
  const auto promise = std::make_shared<std::promise<Generation>>();
  std::future<Generation> result = promise->get_future();
  submit(
      std::move(request),
      [promise](Generation generation) { promise->set_value(std::move(generation)); },
      std::move(on_text));
  return result;
}

void Engine::submit(GenerationRequest request, OnDone on_done, OnText on_text) {
  impl_->generator->check(request);
  auto asked = std::make_unique<Impl::Asked>(
      Impl::Asked{std::move(request), std::move(on_done), std::move(on_text)});
  {
    const std::lock_guard lock(impl_->guard);
    impl_->queue.push_back(std::move(asked));
  }
  impl_->changed.notify_all();
}

std::vector<float> Engine::embed(std::string_view text) {
  std::vector<int32_t> ids = impl_->tokenizer->encode(text);
  if (ids.empty()) throw Error("a text to embed is empty");
  if (static_cast<int64_t>(ids.size()) > capacity()) ids.resize(static_cast<size_t>(capacity()));
  std::vector<float> result;
  impl_->run([&] { result = impl_->embed(ids); });
  return result;
}

std::vector<double> Engine::log_likelihoods(
    const std::vector<int32_t>& prompt, const std::vector<std::vector<int32_t>>& continuations) {
  for (const auto& continuation : continuations) {
    if (continuation.empty()) throw Error("a continuation is empty");
    if (prompt.empty() || static_cast<int64_t>(prompt.size() + continuation.size()) > capacity())
      throw Error(fmt::format("a prompt of {} tokens and its answer do not fit {}", prompt.size(),
                              capacity()));
  }
  std::vector<double> result;
  impl_->run([&] { result = impl_->log_likelihoods(prompt, continuations); });
  return result;
}

}  // namespace llmcf::llm
