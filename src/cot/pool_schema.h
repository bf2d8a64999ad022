// The pool's tables. Internal to the pool's own files.
#pragma once

#include <array>
#include <string_view>

namespace llmcf::cot {

inline constexpr std::string_view kPoolFormat = "llmcf.cot.pool/1";

// States are stored as numbers: do not change them.
inline constexpr const char* kPoolSchema = R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL, model TEXT NOT NULL, prompt_hash TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE prompts (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE versions (
  id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, note TEXT NOT NULL,
  source INTEGER REFERENCES sources(id));
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY, user TEXT NOT NULL, position INTEGER NOT NULL, item TEXT NOT NULL,
  label REAL NOT NULL, time INTEGER NOT NULL, dataset_hash TEXT NOT NULL,
  active INTEGER NOT NULL, state INTEGER NOT NULL, wanted_version INTEGER NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  UNIQUE (user, position, item, label, time));
CREATE INDEX jobs_by_state ON jobs (state, id) WHERE active = 1;
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs(id), candidate INTEGER NOT NULL,
  version INTEGER NOT NULL REFERENCES versions(id), source INTEGER NOT NULL REFERENCES sources(id),
  text TEXT NOT NULL, finish_reason TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL,
  estimated INTEGER NOT NULL, latency_ms REAL NOT NULL, created_at INTEGER NOT NULL,
  coherence REAL, completeness REAL, relevance REAL, consistency REAL, score REAL,
  accepted INTEGER, reason TEXT NOT NULL DEFAULT '', superseded_by INTEGER REFERENCES versions(id),
  UNIQUE (job, source, version, candidate));
CREATE INDEX answers_unscored ON answers (id) WHERE accepted IS NULL;
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY, job INTEGER REFERENCES jobs(id),
  version INTEGER NOT NULL REFERENCES versions(id), at INTEGER NOT NULL, status TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL,
  estimated INTEGER NOT NULL, latency_ms REAL NOT NULL);
CREATE INDEX ledger_by_job ON ledger (job);
CREATE TABLE erased (id INTEGER PRIMARY KEY, user_hash TEXT NOT NULL UNIQUE);
)sql";

// User reasoning, item facts and teacher scores. Added to files that lack them.
inline constexpr const char* kKnowledgeSchema = R"sql(
CREATE TABLE IF NOT EXISTS knowledge_jobs (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, user TEXT NOT NULL, position INTEGER NOT NULL,
  item TEXT NOT NULL, input TEXT NOT NULL, active INTEGER NOT NULL, state INTEGER NOT NULL,
  wanted_version INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '',
  UNIQUE (kind, user, position, item, input));
CREATE INDEX IF NOT EXISTS knowledge_jobs_by_state ON knowledge_jobs (kind, state, id)
  WHERE active = 1;
CREATE INDEX IF NOT EXISTS knowledge_jobs_by_user ON knowledge_jobs (user);
CREATE TABLE IF NOT EXISTS knowledge_answers (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES knowledge_jobs(id),
  version INTEGER NOT NULL REFERENCES versions(id), source INTEGER NOT NULL REFERENCES sources(id),
  text TEXT NOT NULL, finish_reason TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL,
  estimated INTEGER NOT NULL, latency_ms REAL NOT NULL, created_at INTEGER NOT NULL,
  yes REAL, no REAL,
  UNIQUE (job, source, version));
)sql";

// What export writes and import reads, in an order that satisfies every reference.
struct PoolTable {
  std::string_view name;
  std::string_view columns;
  std::string_view order;
};

inline constexpr std::array<PoolTable, 10> kPoolTables = {{
    {"meta", "key,value", "key"},
    {"sources", "id,key,kind,model,prompt_hash,settings", "id"},
    {"prompts", "id,hash,text", "id"},
    {"versions", "id,created_at,note,source", "id"},
    {"jobs", "id,user,position,item,label,time,dataset_hash,active,state,wanted_version,reason",
     "id"},
    {"answers",
     "id,job,candidate,version,source,text,finish_reason,prompt_tokens,completion_tokens,money,"
     "estimated,latency_ms,created_at,coherence,completeness,relevance,consistency,score,accepted,"
     "reason,superseded_by",
     "id"},
    {"ledger",
     "id,job,version,at,status,prompt_tokens,completion_tokens,money,estimated,latency_ms", "id"},
    {"knowledge_jobs", "id,kind,user,position,item,input,active,state,wanted_version,reason", "id"},
    {"knowledge_answers",
     "id,job,version,source,text,finish_reason,prompt_tokens,completion_tokens,money,estimated,"
     "latency_ms,created_at,yes,no",
     "id"},
    {"erased", "id,user_hash", "id"},
}};

}  // namespace llmcf::cot
