// Recordings that nobody uses at the moment, kept for the next call that needs the same: another
// batch, other targets. A recording costs two evaluations by the host, which a walk of few levels
// would pay again each time.
#pragma once

#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "diffusion/epsilon.h"
#include "engine/memory.h"

namespace diffscm {

// What a recording is of: networks, by identity, and everything else that it has within it.
class RecordingKey {
 public:
  // `rest`: what the functions and the shapes of what is bound to them, per image, do not say.
  RecordingKey(std::span<const TimestepFunction* const> functions, std::string rest);

  bool operator==(const RecordingKey& other) const;
  // One of the networks is gone: nobody will ask for it again.
  bool is_expired() const;

 private:
  std::vector<std::weak_ptr<const TimestepFunction::Body>> networks_;
  std::string rest_;
};

// Whether recordings of these functions can serve later calls.
bool can_be_kept(std::span<const TimestepFunction* const> functions, Target target);

// Of any thread. Recordings that are taken belong to who took them. At most kMost are kept, the
// last given back; all are dropped when memory runs short.
template <class T>
class Kept {
 public:
  static constexpr size_t kMost = 16;

  // The one that the program has. Never destroyed: what it holds belongs to devices that may be
  // gone at exit.
  static Kept& recordings() {
    static Kept* const only = new Kept;
    return *only;
  }

  // Null if there is none.
  std::unique_ptr<T> take(const RecordingKey& key) {
    std::list<Entry> gone;  // destroyed without the mutex
    const std::lock_guard lock(mutex_);
    drop_expired(gone);
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](Entry& e) { return e.first == key; });
    if (found == entries_.end()) return nullptr;
    std::unique_ptr<T> recording = std::move(found->second);
    entries_.erase(found);
    return recording;
  }
  void give_back(RecordingKey key, std::unique_ptr<T> recording) {
    std::list<Entry> gone;
    const std::lock_guard lock(mutex_);
    entries_.emplace_front(std::move(key), std::move(recording));
    drop_expired(gone);
    if (entries_.size() > kMost) gone.splice(gone.end(), entries_, std::prev(entries_.end()));
  }
  void drop() {
    std::list<Entry> gone;
    const std::lock_guard lock(mutex_);
    gone.swap(entries_);
  }

 private:
  using Entry = std::pair<RecordingKey, std::unique_ptr<T>>;
  Kept() {
    on_memory_shortage([this] { drop(); });
  }

  void drop_expired(std::list<Entry>& gone) {
    for (auto e = entries_.begin(); e != entries_.end();) {
      const auto next = std::next(e);
      if (e->first.is_expired()) gone.splice(gone.end(), entries_, e);
      e = next;
    }
  }

  std::mutex mutex_;
  std::list<Entry> entries_;
};

}  // namespace diffscm
