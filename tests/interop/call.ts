// The function `call` of the API guide with the types that openapi-typescript generates: the path and the method decide the body and
// the response.

import type { paths } from './api';

type WithoutQuery<Path extends string> = Path extends `${infer Bare}?${string}` ? Bare : Path;
type Pattern<Path extends string> = Path extends `${infer Head}{${string}}${infer Tail}` ? `${Head}${string}${Pattern<Tail>}` : Path;
type Described<Path extends string> = {
  [Key in keyof paths & string]: WithoutQuery<Path> extends Pattern<Key> ? Key : never;
}[keyof paths & string];
type Operation<Method extends string, Path extends string> = paths[Described<Path>][Lowercase<Method> & keyof paths[Described<Path>]];
type Json<Content> = Content extends { content: { 'application/json': infer Body } } ? Body : never;
type RequestBody<Method extends string, Path extends string> =
  Operation<Method, Path> extends { requestBody?: infer Body } ? Json<NonNullable<Body>> : undefined;
type ResponseBody<Method extends string, Path extends string> =
  Operation<Method, Path> extends { responses: { 200: infer Response } } ? Json<Response> : never;
/** The response to a payment has a QR code, that to an item in the cart has none. */
type Outcome<Body, Sent> =
  [Sent] extends [never] ? Body : Sent extends { amount: number } ? Extract<Body, { qrId: string }> : Body;

declare function call<Method extends string, Path extends string, Sent extends RequestBody<Method, Path>>(
  method: Method,
  path: Described<Path> extends never ? never : Path,
  body?: Sent,
): Promise<Outcome<ResponseBody<Method, Path>, Sent>>;
