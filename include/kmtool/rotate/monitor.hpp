#pragma once
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::rotate {

/// Thresholds in seconds; 0 switches a check off.
struct MonitorRequest {
  std::int64_t warning = 30 * 86400, critical = 7 * 86400;  ///< active versions whose originator period ends within this
  std::int64_t unverified = 90 * 86400;                     ///< bundles that nobody verified for so long
};
/// As the Monitoring Plugins guidelines want it: 0 ok, 1 warning, 2 critical; one line, performance data, further lines.
struct MonitorReport {
  int status = 0;
  std::string text;                ///< what is wrong, worst first; `everything is in order`
  std::string performance;         ///< `keys=12 expiring=0 …`
  std::vector<std::string> lines;  ///< one a finding
};

/// Looks at home and journal: no module is loaded, no PIN is needed. The newest checkpoint must be signed by signers/log.pem and the catalog
/// must be what it was signed over; otherwise the report is critical, whatever the catalog says.
MonitorReport monitor(op::Context& reader, const MonitorRequest& request);

}  // namespace kmtool::rotate
