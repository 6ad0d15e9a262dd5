# The Debian package: cpack -G DEB in a release build makes kmtool_VERSION-0kmtool1_ARCH.deb. Needs dpkg-dev.
set(maintainer "kmtool maintainers <maintainers@kmtool.example>")
set(revision 0kmtool1)  # not a revision of Debian's

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/copyright @ONLY CONTENT [[
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: kmtool

Files: *
Copyright: 2026 the kmtool authors
License: Apache-2.0

License: Apache-2.0
 Licensed under the Apache License, Version 2.0 (the "License"); you may not
 use this file except in compliance with the License. You may obtain a copy of
 the License at
 .
 http://www.apache.org/licenses/LICENSE-2.0
 .
 Unless required by applicable law or agreed to in writing, software
 distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 License for the specific language governing permissions and limitations under
 the License.
 .
 On Debian systems, the complete text of the Apache License, version 2.0, can
 be found in /usr/share/common-licenses/Apache-2.0.
]])
install(FILES ${CMAKE_BINARY_DIR}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})

# One entry for the packaged version, dated by SOURCE_DATE_EPOCH where that is set.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/changelog.Debian @ONLY CONTENT [[
kmtool (@PROJECT_VERSION@-@revision@) unstable; urgency=medium

  * Package of kmtool @PROJECT_VERSION@.

 -- @maintainer@  @date@
]])

# Runbooks are what `kmtool ceremony` runs, not reading matter.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/lintian-overrides @ONLY CONTENT [[
kmtool: package-contains-documentation-outside-usr-share-doc [usr/share/kmtool/examples/*.md]
]])
install(FILES ${CMAKE_BINARY_DIR}/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME kmtool)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME kmtool)
set(CPACK_PACKAGE_CONTACT "${maintainer}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "key management over PKCS#11: generate, wrap, verify, restore")
set(CPACK_PACKAGE_DESCRIPTION "kmtool keeps cryptographic keys in an HSM, or in a software token to learn and
to test with. It generates keys inside the token, wraps them under a
key-encryption key into sealed and signed bundles for offline storage,
verifies and restores these, and keeps a tamper-evident journal of everything
that was done. A key value never leaves the token except wrapped.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${revision})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${maintainer}")
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS softhsm2)  # init --embedded
set(CPACK_DEBIAN_PACKAGE_SUGGESTS opensc)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)
set(CPACK_KMTOOL_CHANGELOG ${CMAKE_BINARY_DIR}/changelog.Debian)
include(CPack)
