#include "engine/io/download.h"

#include <curl/curl.h>

#include <memory>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

constexpr long kConnectSeconds = 15, kStallSeconds = 30, kStallBytesPerSecond = 1000;
constexpr long kTotalSeconds = 1800, kRedirects = 5;

struct Body {
  Bytes bytes;
  uint64_t limit;
  bool too_long = false;
};

size_t append(char* data, size_t size, size_t count, void* user) {
  auto& body = *static_cast<Body*>(user);
  const size_t total = size * count;
  body.too_long = body.bytes.size() + total > body.limit;
  if (body.too_long) return 0;  // libcurl stops the transfer
  body.bytes.insert(body.bytes.end(), data, data + total);
  return total;
}

// libcurl's global state, once per process; initialising a local static is thread-safe.
void start_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  require(code == CURLE_OK, "libcurl cannot start: {}", curl_easy_strerror(code));
}

}  // namespace

void verify_sha256(const std::string& bytes_sha256, const std::string& expected,
                   const std::string& origin) {
  require(bytes_sha256 == expected, "{} has sha256 {}, expected {}; it was not kept", show(origin),
          bytes_sha256, expected);
}

void download(const Download& source, const std::filesystem::path& path) {
  require(source.url.starts_with("https://"), "refusing to download {}: only https is accepted",
          show(source.url));
  start_curl();
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  require(curl != nullptr, "libcurl cannot start");
  Body body{{}, source.size_limit};
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl.get(), CURLOPT_URL, source.url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "https");
  curl_easy_setopt(curl.get(), CURLOPT_REDIR_PROTOCOLS_STR, "https");
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_MAXREDIRS, kRedirects);
  curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kTotalSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "diffscm");
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(curl.get());
  require(!body.too_long, "download of {} stopped: more than the expected {} bytes",
          show(source.url), source.size_limit);
  require(code == CURLE_OK, "cannot download {}: {}", show(source.url),
          detail[0] ? detail : curl_easy_strerror(code));
  verify_sha256(sha256(body.bytes), source.sha256, source.url);

  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  require(!error, "cannot make the folder of {}: {}", show(path), error.message());
  atomic_write(path, body.bytes);
}

}  // namespace diffscm::io
