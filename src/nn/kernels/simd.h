// One macro for kernels written as plain loops: the compiler makes a copy for each x86-64 level and
// the loader picks the one the machine has. No libtorch in this folder.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LLMCF_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LLMCF_SIMD
#endif
