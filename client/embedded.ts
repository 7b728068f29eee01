/**
 * `@cortexd/client/embedded`: a coordinator in your own process, behind the same client. It is a room of the server,
 * and stands here under the name of the package.
 */

export type { EmbeddedClientOptions, EmbeddedWorkerOptions } from "../src/embedded/clients.ts";
export {
  type CoordinatorOptions,
  createCoordinator,
  type EmbeddedCoordinator,
  type Tuning,
} from "../src/embedded/coordinator.ts";
