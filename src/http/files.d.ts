/** Files that the executable carries: the import is their path. */
declare module "swagger-ui-dist/*" {
  const path: string;
  export default path;
}
