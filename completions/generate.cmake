# cmake -DPROGRAM=kmtool -DSHELL=bash -DOUTPUT=FILE -P generate.cmake
execute_process(COMMAND ${PROGRAM} completion ${SHELL} OUTPUT_FILE ${OUTPUT} RESULT_VARIABLE failed)
if(failed)
  file(REMOVE ${OUTPUT})
  message(FATAL_ERROR "kmtool completion ${SHELL} ended with ${failed}")
endif()
