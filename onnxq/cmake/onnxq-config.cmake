# onnxq_quantize(OUT MODEL <model> [DATA <data>] [BACKEND <backend>] [CACHE <folder>] [DEPENDS <files>] [OPTIONS <options>])
#
# Adds the command that makes OUT, by `onnxq quantize`. It is run again when a file that it read has changed: the model,
# its external data, the samples, the recipe and what it extends. A relative OUT starts at CMAKE_CURRENT_BINARY_DIR,
# relative MODEL and DATA at CMAKE_CURRENT_SOURCE_DIR. MODEL may be a model card's name, too.
#
#   BACKEND  onnxruntime if none is given
#   CACHE    a folder for `--cache`; the variable ONNXQ_CACHE if none is given; no cache where that is empty, too
#   DEPENDS  further files that samples or recipes depend on, such as what a script reads
#   OPTIONS  of `onnxq quantize`, such as --recipe int8.yaml --max-drop 1; their paths start at CMAKE_CURRENT_SOURCE_DIR
#
# The command is ONNXQ_COMMAND, `onnxq` as it is found by CMake unless that is set: a list, program first.

cmake_policy(PUSH)
cmake_policy(VERSION 3.21)

if(NOT ONNXQ_COMMAND)
  find_program(ONNXQ_PROGRAM onnxq)
  if(NOT ONNXQ_PROGRAM)
    message(FATAL_ERROR "onnxq is not in PATH. Activate its environment, or set ONNXQ_COMMAND.")
  endif()
  set(ONNXQ_COMMAND "${ONNXQ_PROGRAM}" CACHE STRING "The command onnxq: a list, program first")
endif()
set(ONNXQ_CACHE "" CACHE PATH "A folder for onnxq quantize --cache; none if empty")

function(onnxq_quantize out)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL;DATA;BACKEND;CACHE" "DEPENDS;OPTIONS")
  if(NOT arg_MODEL)
    message(FATAL_ERROR "onnxq_quantize(${out}): give MODEL.")
  endif()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "onnxq_quantize(${out}): ${arg_UNPARSED_ARGUMENTS}: unknown. Put options behind OPTIONS.")
  endif()
  cmake_path(ABSOLUTE_PATH out BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" NORMALIZE)

  set(words quantize)
  set(depends ${arg_DEPENDS})
  foreach(name MODEL DATA)
    if(NOT arg_${name})
      continue()
    endif()
    set(value "${arg_${name}}")
    set(path "${value}")
    cmake_path(ABSOLUTE_PATH path BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    if(EXISTS "${path}")
      set(value "${path}")
      list(APPEND depends "${path}")
    elseif(name STREQUAL "DATA" AND path MATCHES "^(.+\\.py):[A-Za-z_][A-Za-z_0-9]*$")
      set(value "${path}")
      list(APPEND depends "${CMAKE_MATCH_1}")
    elseif(value MATCHES "[/.]")  # made by another rule
      set(value "${path}")
      list(APPEND depends "${path}")
    endif()
    if(name STREQUAL "MODEL")
      list(APPEND words "${value}")
    else()
      list(APPEND words --data "${value}")
    endif()
  endforeach()
  if(arg_BACKEND)
    list(APPEND words --backend "${arg_BACKEND}")
  endif()
  if(NOT arg_CACHE)
    set(arg_CACHE "${ONNXQ_CACHE}")
  endif()
  if(arg_CACHE)
    list(APPEND words --cache "${arg_CACHE}")
  endif()

  add_custom_command(
    OUTPUT "${out}"
    COMMAND ${ONNXQ_COMMAND} ${words} --out "${out}" --depfile "${out}.d" --quiet ${arg_OPTIONS}
    DEPENDS ${depends}
    DEPFILE "${out}.d"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Quantizing ${arg_MODEL}"
    VERBATIM
  )
endfunction()

cmake_policy(POP)
