/**
 * What a command says of a value: a table for a person, JSON for a program. Both go to standard output, so that a
 * pipe sees nothing else; errors and warnings do not pass here.
 */

/** The value for a program under `--json`, its text for a person otherwise. */
export function print({ json }: { readonly json?: true }, value: unknown, text: () => string): void {
  console.log(json === true ? JSON.stringify(value, undefined, 2) : text());
}
