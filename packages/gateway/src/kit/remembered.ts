/** `work`, done once for each object: what comes of it must depend on nothing but the object, which must not change. */
export function remembered<T extends object, R>(work: (of: T) => R): (of: T) => R {
  const known = new WeakMap<T, { readonly result: R }>();
  return (of) => {
    let entry = known.get(of);
    if (entry === undefined) known.set(of, (entry = { result: work(of) }));
    return entry.result;
  };
}
