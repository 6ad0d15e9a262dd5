#include "kmtool/core/notices.hpp"

#include <mutex>
#include <utility>

namespace kmtool {
namespace {

std::mutex guard;
std::vector<std::string> notices;

}  // namespace

void notice(std::string text) {
  const std::lock_guard lock(guard);
  notices.push_back(std::move(text));
}

std::vector<std::string> take_notices() {
  const std::lock_guard lock(guard);
  return std::exchange(notices, {});
}

}  // namespace kmtool
