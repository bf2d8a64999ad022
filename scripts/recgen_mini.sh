#!/usr/bin/env bash
# Makes RecGen-mini from nothing: texts, vocabulary, weights, training, tuning, and the directory that ships. About an hour on two cores;
# a killed run goes on where it was. Usage: scripts/recgen_mini.sh [directory to write, default work/recgen-mini/recgen-mini]
set -euo pipefail
cd "$(dirname "$0")/.."
llmcf=build/release/src/apps/llmcf
work=work/recgen-mini
out=${1:-$work/recgen-mini}
[ -x "$llmcf" ] || ./scripts/build.sh llmcf
mkdir -p "$work"
corpus=$work/corpus
[ -f "$corpus/recommend.json" ] || "$llmcf" llm corpus --shops 10 --chains 2000 --verdicts 600 --documents 24000 --questions 12000 --out "$corpus"
[ -f "$work/tokenizer.model" ] || "$llmcf" llm vocabulary "$corpus"/{prose.txt,general.json,recommend.json} --size 2048 --out "$work/tokenizer.model"
[ -d "$work/start" ] || "$llmcf" llm new --tokenizer "$work/tokenizer.model" --hidden 128 --intermediate 352 --layers 6 --heads 4 --positions 1024 --out "$work/start"
[ -d "$work/base" ] || "$llmcf" llm tune configs/recgen-mini/pretrain.yaml
[ -d "$work/tuned" ] || "$llmcf" llm tune configs/recgen-mini/recgen.yaml
[ -d "$out" ] || "$llmcf" llm convert --model "$work/tuned" --dtype float16 --out "$out"
echo "$out"
