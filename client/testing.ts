/**
 * `@cortexd/client/testing`: the coordinator in your tests, with a clock that you move and faults that you ask for. It
 * is a room of the server, and stands here under the name of the package.
 */
export {
  createCoordinator,
  type Duration,
  type Faults,
  type Somebody,
  type TestCoordinator,
  type TestCoordinatorOptions,
} from "../src/embedded/testing.ts";
