/**
 * Strides for a walk that meets each of so many once before it meets one again: those without a common divisor with the
 * size (Euclid).
 */
export function isCoprime(a: number, b: number): boolean {
  return b === 0 ? a === 1 : isCoprime(b, a % b);
}
