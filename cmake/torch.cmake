# The one target through which rooms behind the torch wall see libtorch.
add_library(llmcf_torch INTERFACE)
target_include_directories(llmcf_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(llmcf_torch INTERFACE ${TORCH_LIBRARIES})
separate_arguments(_llmcf_torch_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(llmcf_torch INTERFACE ${_llmcf_torch_flags})
set_target_properties(llmcf_torch PROPERTIES EXPORT_NAME torch_wall)
install(TARGETS llmcf_torch EXPORT llmcf-targets)
