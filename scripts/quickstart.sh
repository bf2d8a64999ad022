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
"$llmcf" --quiet publish configs/quickstart.yaml --out work/quickstart/shop.bundle
cat <<TEXT

Serve it:
  $llmcf serve work/quickstart/shop.bundle
and ask, from another terminal:
  curl -s http://127.0.0.1:8080/v1/recommend --data '{"user": "U00001", "k": 5}'
TEXT
