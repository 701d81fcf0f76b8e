# bpf_object(NAME): compiles NAME.bpf.c and makes the interface library bpf_NAME, whose include
# folder holds NAME.skel.h with the object embedded. What follows NAME goes to the compiler.
find_program(BPF_CLANG NAMES clang REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|i.86)$")
	set(BPF_TARGET_ARCH x86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
	set(BPF_TARGET_ARCH arm64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^arm")
	set(BPF_TARGET_ARCH arm)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^mips")
	set(BPF_TARGET_ARCH mips)
else()
	set(BPF_TARGET_ARCH ${CMAKE_SYSTEM_PROCESSOR})
endif()

function(bpf_object name)
	set(source ${CMAKE_CURRENT_SOURCE_DIR}/${name}.bpf.c)
	set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
	set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
	file(GLOB shared CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/lib/*.h ${CMAKE_SOURCE_DIR}/include/seam/*.h)
	# Debian keeps <asm/types.h> under the multiarch triplet, which clang -target bpf does not search.
	add_custom_command(OUTPUT ${object}
		COMMAND ${BPF_CLANG} -O2 -g -target bpf -D__TARGET_ARCH_${BPF_TARGET_ARCH} ${ARGN} -Wall -Wextra -Werror
			-I${CMAKE_CURRENT_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/include
			-idirafter /usr/include/${CMAKE_C_LIBRARY_ARCHITECTURE} -c ${source} -o ${object}
		DEPENDS ${source} ${shared} VERBATIM)
	add_custom_command(OUTPUT ${skeleton}
		COMMAND sh -c "${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}"
		DEPENDS ${object} VERBATIM)
	add_custom_target(bpf_${name}_skeleton DEPENDS ${skeleton})
	add_library(bpf_${name} INTERFACE)
	add_dependencies(bpf_${name} bpf_${name}_skeleton)
	target_include_directories(bpf_${name} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()
