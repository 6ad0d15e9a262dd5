#pragma once
#include <string>
#include <vector>

#include "kmtool/audit/keys.hpp"

namespace kmtool::audit {

/// How far a line of the guideline is followed here.
enum class Compliance { met, partly, not_met, not_applicable };
std::string_view to_text(Compliance verdict);  ///< `met`, `partly`, `not met`, `not applicable`

struct GuidanceLine {
  std::string id, says, answers;
  Compliance verdict = Compliance::met;
  std::vector<std::string> evidence;  ///< facts of this home and token, one sentence each
};

struct GuidanceReport {
  KeysReport keys;
  std::vector<GuidanceLine> lines;  ///< in the guideline's order
};

/// The guideline's lines with what home, catalog, journal, profile and token show for each. The report for an assessor.
GuidanceReport guidance(op::Context& context);

Json guidance_json(const GuidanceReport& report);
std::string guidance_html(const GuidanceReport& report);

}  // namespace kmtool::audit
