export const z = (s: TemplateStringsArray, ...v: unknown[]) => s.raw.join(String(v));
export const unused = /(?<year>\d{4})-(?<m>\d\d)/dgu;
export const el = <T,>(x: T) => x as const satisfies T;
