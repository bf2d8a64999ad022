# llmcf_room(NAME SOURCES ... [DEPENDS rooms...] [LIBRARIES targets...] [TESTS files...] [TORCH])
#   Makes the static library llmcf_NAME from src/NAME. DEPENDS names the rooms it may include.
#   TESTS are files of tests/NAME, each one executable and one ctest entry labelled NAME.
#   TORCH puts the room behind the torch wall: it reuses the one precompiled header of room nn.
function(llmcf_room name)
  cmake_parse_arguments(ROOM "TORCH" "" "SOURCES;DEPENDS;LIBRARIES;TESTS" ${ARGN})
  set(target llmcf_${name})
  add_library(${target} STATIC ${ROOM_SOURCES})
  add_library(llmcf::${name} ALIAS ${target})
  target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>"
                                              "$<INSTALL_INTERFACE:include/llmcf>")
  list(TRANSFORM ROOM_DEPENDS PREPEND llmcf_)
  target_link_libraries(${target} PUBLIC ${ROOM_DEPENDS} ${ROOM_LIBRARIES})
  if(ROOM_TORCH)
    target_link_libraries(${target} PUBLIC llmcf_torch)
    llmcf_reuse_torch_header(${target})
  endif()
  if(LLMCF_TESTS)
    foreach(file IN LISTS ROOM_TESTS)
      llmcf_test(${name} ${file} ${target})
    endforeach()
  endif()
endfunction()

function(llmcf_reuse_torch_header target)
  if(NOT target STREQUAL "llmcf_nn")
    target_precompile_headers(${target} REUSE_FROM llmcf_nn)
  endif()
endfunction()

# llmcf_test(ROOM FILE TARGETS...): one test file of tests/ROOM becomes one executable.
function(llmcf_test room file)
  get_filename_component(stem ${file} NAME_WE)
  set(test ${room}_${stem})
  add_executable(${test} "${PROJECT_SOURCE_DIR}/tests/${room}/${file}")
  target_link_libraries(${test} PRIVATE ${ARGN} GTest::gtest_main GTest::gmock)
  target_include_directories(${test} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${test} PRIVATE LLMCF_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${room}.${stem} COMMAND ${test})
  set_tests_properties(${room}.${stem} PROPERTIES LABELS ${room} TIMEOUT 600
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\].*\n.*\\[  PASSED  \\] 0 tests")
endfunction()
