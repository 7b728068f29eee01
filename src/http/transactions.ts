/** Transactions over HTTP: several operations as one request, all or nothing. */
import { Elysia } from "elysia";
import { TransactionRun } from "../wire/transactions.ts";
import type { Port } from "./port.ts";
import { answers, doc, runs, told } from "./route.ts";

export const transactions = (port: Port) => {
  const run = runs(port);
  return new Elysia({ normalize: false }).post(
    "/api/transaction",
    ({ body, request }) => run("transaction.run", body, { request }),
    {
      body: told(TransactionRun),
      response: answers("transaction.run"),
      detail: doc("transaction.run", {
        description:
          "Whatever is refused refuses the whole: nothing of it stays, and `errors` leads to the operation (`/then/2`).",
      }),
    },
  );
};
