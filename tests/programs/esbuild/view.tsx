import * as React from "./react-like";
export const View = ({ a, ...rest }: { a: number }) => <><div className="x" {...rest}>{a} &amp; text</div></>;
