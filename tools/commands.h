/* Every subcommand, in the order of `vqgraph --help`: X(check) stands for
 * vq_command_check, which tools/check.c defines. */
#define VQ_COMMANDS(X) \
	X(run) X(check) X(dump) X(eval) X(bench) \
	X(encode) X(decode) X(reconstruct) X(sample) X(evaluate) \
	X(ops) X(schema) X(data) X(doctor) X(completion) X(man)
