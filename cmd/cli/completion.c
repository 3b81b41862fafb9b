/* SPDX-License-Identifier: BSD-3-Clause */
/* The shells' scripts for completion: they know nothing but to ask (complete.c). */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* bash sees '=' and ':' as ends of words: what stands before the last one must not come again. */
static const char bash_script[] =
	"# completion of virtlane for bash, made by `virtlane completion bash`\n"
	"_virtlane()\n"
	"{\n"
	"	local line=${COMP_LINE:0:COMP_POINT} word prefix= candidate\n"
	"	word=${line##*[[:space:]]}\n"
	"	[[ $word == *[=:]* ]] && prefix=${word%\"${word##*[=:]}\"}\n"
	"	COMPREPLY=()\n"
	"	while IFS=$'\\t' read -r candidate _; do\n"
	"		if [[ $candidate == :file ]]; then\n"
	"			compopt -o default\n"
	"			return\n"
	"		fi\n"
	"		[[ $candidate == *= ]] && compopt -o nospace\n"
	"		COMPREPLY+=(\"${candidate#\"$prefix\"}\")\n"
	"	done < <(\"${COMP_WORDS[0]}\" --complete \"$line\" 2>/dev/null)\n"
	"}\n"
	"complete -F _virtlane virtlane\n";

static const char zsh_script[] =
	"#compdef virtlane\n"
	"# completion of virtlane for zsh, made by `virtlane completion zsh`\n"
	"_virtlane()\n"
	"{\n"
	"	local candidate text\n"
	"	local -a whole begun\n"
	"	while IFS=$'\\t' read -r candidate text; do\n"
	"		if [[ $candidate == :file ]]; then\n"
	"			_files\n"
	"			return\n"
	"		fi\n"
	"		if [[ $candidate == *= ]]; then\n"
	"			begun+=(\"$candidate\")\n"
	"		else\n"
	"			whole+=(\"${candidate//:/\\\\:}:$text\")\n"
	"		fi\n"
	"	done < <(\"${words[1]}\" --complete \"${(j: :)words[1,CURRENT]}\" 2>/dev/null)\n"
	"	(( $#begun )) && compadd -S '' -- \"${begun[@]}\"\n"
	"	(( $#whole )) && _describe virtlane whole\n"
	"}\n"
	"compdef _virtlane virtlane\n";

static const char fish_script[] =
	"# completion of virtlane for fish, made by `virtlane completion fish`\n"
	"function __virtlane_complete\n"
	"	set -l found (virtlane --complete (commandline -cp | string collect) 2>/dev/null)\n"
	"	if string match -q ':file*' -- $found[1]\n"
	"		__fish_complete_path (commandline -ct)\n"
	"	else\n"
	"		printf '%s\\n' $found\n"
	"	end\n"
	"end\n"
	"complete -c virtlane -f -a '(__virtlane_complete)'\n";

enum cli_exit cli_completion(struct cli *cli, const struct cli_input *input)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = {
		{"bash", bash_script},
		{"zsh", zsh_script},
		{"fish", fish_script},
	};

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		if (strcmp(scripts[i].shell, input->words[0]) == 0) {
			(void)fputs(scripts[i].script, stdout);
			return CLI_OK;
		}
	}
	return cli_fail(
		cli, CLI_USAGE, "no completion for '%s'; give bash, zsh or fish", input->words[0]
	);
}
