#!/usr/bin/env bash
# clang-tidy on the named files, or on the files that differ from HEAD; needs a configured `dev` preset.
# clang-14 cannot parse libtorch's nn headers with libstdc++ 12 in C++20, so torch rooms are parsed with libc++'s
# headers (package libc++-14-dev) where they are installed, and are reported as skipped where not.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -f build/dev/compile_commands.json ] || cmake --preset dev >/dev/null
files=("$@")
[ "$#" -gt 0 ] || mapfile -t files < <(git diff --name-only --diff-filter=d HEAD -- 'src/*.cc'; git ls-files -o --exclude-standard 'src/*.cc')
libcxx=/usr/lib/llvm-14/include/c++/v1
status=0
for file in "${files[@]}"; do
  extra=()
  case "$file" in
    src/nn/* | src/ict/* | src/models/* | src/train/*)
      if [ ! -d "$libcxx" ]; then echo "tidy: skipped $file (install libc++-14-dev)"; continue; fi
      extra=(--extra-arg-before=-nostdinc++ "--extra-arg-before=-isystem$libcxx") ;;
  esac
  clang-tidy --quiet -p build/dev "${extra[@]}" --extra-arg=-Wno-unknown-warning-option "$file" || status=1
done
exit "$status"
