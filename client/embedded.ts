/**
 * `@cortexd/client/embedded`: a coordinator in your own process, behind the same client. It is a room of the server,
 * and stands here under the name of the package.
 */

export {
  type CoordinatorOptions,
  createCoordinator,
  type EmbeddedClientOptions,
  type EmbeddedCoordinator,
  type EmbeddedWorkerOptions,
  type Tuning,
} from "../src/embedded/coordinator.ts";
