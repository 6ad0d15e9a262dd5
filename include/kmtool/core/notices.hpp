#pragma once
#include <string>
#include <vector>

namespace kmtool {

/// Something that people must hear of although the command they called is about something else, such as what settling an interrupted one
/// destroyed: said on standard error when the command is over, however it ends.
void notice(std::string text);
/// All of them, once.
std::vector<std::string> take_notices();

}  // namespace kmtool
