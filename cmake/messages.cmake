# gRPC is optional: LLMCF_WITH_GRPC says whether the library, protoc and its plugin are there.
option(LLMCF_GRPC "Answer over gRPC, where it is installed" ON)
find_program(LLMCF_PROTOC protoc)
find_program(LLMCF_GRPC_PLUGIN grpc_cpp_plugin)
set(LLMCF_WITH_GRPC OFF)
if(LLMCF_GRPC AND grpcpp_FOUND AND LLMCF_PROTOC AND LLMCF_GRPC_PLUGIN)
  set(LLMCF_WITH_GRPC ON)
else()
  message(STATUS "Left out: gRPC (packages libgrpc++-dev, protobuf-compiler, protobuf-compiler-grpc; -DLLMCF_GRPC=ON)")
endif()

# llmcf_messages(VARIABLE FILE): the sources that proto/FILE becomes, made in proto/ below the room's build directory.
function(llmcf_messages variable file)
  set(out "${CMAKE_CURRENT_BINARY_DIR}/proto")
  string(REGEX REPLACE "\\.proto$" "" stem "${out}/${file}")
  file(MAKE_DIRECTORY "${out}")
  add_custom_command(
    OUTPUT ${stem}.pb.cc ${stem}.pb.h ${stem}.grpc.pb.cc ${stem}.grpc.pb.h
    COMMAND ${LLMCF_PROTOC} -I "${PROJECT_SOURCE_DIR}/proto" --cpp_out=${out} --grpc_out=${out}
            --plugin=protoc-gen-grpc=${LLMCF_GRPC_PLUGIN} ${file}
    DEPENDS "${PROJECT_SOURCE_DIR}/proto/${file}" VERBATIM)
  set(${variable} ${stem}.pb.cc ${stem}.grpc.pb.cc PARENT_SCOPE)
endfunction()
