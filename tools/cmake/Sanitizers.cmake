# SEAM_SANITIZE: value of -fsanitize=, empty for none. SEAM_HARDEN: what a network daemon ships with.
set(SEAM_SANITIZE "" CACHE STRING "sanitizers, e.g. address,undefined")
option(SEAM_FUZZ "coverage for libFuzzer and the targets of tests/fuzz; needs clang" OFF)
option(SEAM_HARDEN "link-time optimisation and hardening flags" OFF)

if(SEAM_SANITIZE)
	add_compile_options(-fsanitize=${SEAM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
	add_link_options(-fsanitize=${SEAM_SANITIZE})
endif()

if(SEAM_FUZZ)
	add_compile_options(-fsanitize=fuzzer-no-link)
	add_link_options(-fsanitize=fuzzer-no-link)
endif()

if(SEAM_HARDEN)
	set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
	set(CMAKE_POSITION_INDEPENDENT_CODE ON)
	set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
	add_compile_options(-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE)
	add_link_options(-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
