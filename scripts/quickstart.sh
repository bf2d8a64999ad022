#!/usr/bin/env bash
# Sets up, builds, and runs the main job on a generated sample shop: import, encode, reason, pool, retrieve, train
# (plain DeepFM against DeepFM + LLM-CF, three seeds), evaluate, report.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
./scripts/build.sh llmcf
llmcf=build/release/src/apps/llmcf
"$llmcf" sample --users 8000 --out work/quickstart/shop
"$llmcf" run configs/quickstart.yaml
