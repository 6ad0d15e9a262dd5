#pragma once
#include "common.hpp"
#include "kmtool/apikey/registry.hpp"

namespace kmtool::cmd {

// The commands under `kmtool apikey`, one file each (apikey_NAME.cpp); apikey.cpp lists them in the order of the help.
using AddApikey = void(CLI::App& apikey, Globals& globals, Action& action);
AddApikey add_apikey_create, add_apikey_rotate, add_apikey_revoke, add_apikey_list, add_apikey_show, add_apikey_usage, add_apikey_check,
    add_apikey_explain, add_apikey_publish, add_apikey_serve, add_apikey_store, add_apikey_exec, add_apikey_scan;

/// A key or another secret on standard input, without one LF at its end; at most `limit` bytes (usage, 64).
SecretBytes read_secret_input(std::size_t limit);
/// The same typed at the terminal, without echo. --no-input or no terminal: refused (77).
SecretBytes ask_secret(const Globals& globals, const std::string& question);

/// An API key as scripts see it.
Json apikey_json(const apikey::ApiKeyRecord& record, UnixTime now);
/// Prints what create and rotate have to hand over: the key alone on standard output, or in the JSON document.
void print_issued(Globals& globals, const op::Context& context, const apikey::Issued& issued, const std::optional<std::filesystem::path>& out);

}  // namespace kmtool::cmd
