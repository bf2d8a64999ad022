#!/usr/bin/env bash
# Fails if a C++ file is not formatted; `scripts/check_format.sh --fix` formats them.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(git ls-files '*.cc' '*.h')
if [ "${1:-}" = --fix ]; then
  clang-format -i "${files[@]}"
else
  clang-format --dry-run --Werror "${files[@]}" || {
    echo "check_format: run scripts/check_format.sh --fix" >&2
    exit 1
  }
fi
