# shellcheck shell=bash
# Debian 12's packages that kmtool is built, run and tested with. Sourced by quickstart and tests/run.
# shellcheck disable=SC2034  # used by whoever sources this
build_packages=(g++ cmake ninja-build pkg-config libssl-dev libp11-dev libp11-kit-dev libsqlite3-dev nlohmann-json3-dev
  libfmt-dev libcli11-dev libsmartcols-dev libidn2-dev zlib1g-dev libboost1.81-dev
  libgfshare-dev libqrencode-dev libpng-dev libcmark-dev)
run_packages=(softhsm2 openssl)
test_packages=(doctest-dev git opencryptoki python3-ecdsa python3-cryptography opensc libnss3-tools p11-kit p11-kit-modules gdb python3 mandoc bash-completion zsh fish lintian strace sqlite3 procps faketime nginx-light python3-jsonschema python3-yaml golang-go golang-golang-x-mod-dev zbar-tools)

# install_packages PACKAGE…: leaves apt alone when every one of them is there.
install_packages() {
  local package missing=() as_root=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      printf 'error: these packages are missing: %s\nhint: as root: apt-get install %s\n' "${missing[*]}" "${missing[*]}" >&2
      return 69
    fi
    as_root=(sudo)
  fi
  printf 'installing %s\n' "${missing[*]}"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"
}
