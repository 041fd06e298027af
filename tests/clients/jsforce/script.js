// A script of more than thirty calls by jsforce's own client against a local org. Each call stands in a step with a name;
// what a step expects is asserted, and the names of the steps that held are the output.
// The environment says where the org is: ORG_URL, ORG_CLIENT_ID, ORG_CLIENT_SECRET, ORG_USERNAME, ORG_PASSWORD, ORG_TOKEN;
// NODE_EXTRA_CA_CERTS names its certificate.
"use strict";

const assert = require("node:assert/strict");
const jsforce = require("jsforce");

const { ORG_URL, ORG_CLIENT_ID, ORG_CLIENT_SECRET, ORG_USERNAME, ORG_PASSWORD, ORG_TOKEN, ORG_ID } = process.env;
const VERSION = "67.0";
const app = { loginUrl: ORG_URL, clientId: ORG_CLIENT_ID, clientSecret: ORG_CLIENT_SECRET };
const done = [];

async function step(name, work) {
  try {
    const found = await work();
    done.push(name);
    return found;
  } catch (error) {
    throw new Error(`${name}: ${error.message}`, { cause: error });
  }
}

const refused = (code) => (error) => error.errorCode === code || error.name === code;

async function signIn() {
  const soap = new jsforce.Connection({ loginUrl: ORG_URL, version: "50.0" });
  await step("sign in by SOAP", async () => {
    const user = await soap.login(ORG_USERNAME, ORG_PASSWORD + ORG_TOKEN);
    assert.equal(user.organizationId, ORG_ID);
    assert.equal(soap.instanceUrl, ORG_URL);
  });
  await step("a wrong password", async () => {
    const other = new jsforce.Connection({ loginUrl: ORG_URL, version: "50.0" });
    await assert.rejects(other.login(ORG_USERNAME, "x"), /INVALID_LOGIN/);
  });
  const conn = new jsforce.Connection({ oauth2: app, version: VERSION });
  await step("sign in by password grant", async () => {
    const user = await conn.login(ORG_USERNAME, ORG_PASSWORD + ORG_TOKEN);
    assert.equal(user.organizationId, ORG_ID);
  });
  await step("client credentials", async () => {
    const other = new jsforce.Connection({ oauth2: app, version: VERSION });
    const user = await other.authorize({ grant_type: "client_credentials" });
    assert.equal(user.id.slice(0, 3), "005");
  });
  await step("who am I", async () => {
    const who = await conn.identity();
    assert.equal(who.username, ORG_USERNAME);
  });
  await step("versions", async () => {
    const listed = await conn.request("/services/data");
    assert.equal(listed.at(-1).version, VERSION);
  });
  await step("limits", async () => {
    const limits = await conn.limits();
    assert.equal(limits.DailyApiRequests.Max, 15000);
    assert.equal(conn.limitInfo.apiUsage.limit, 15000);
  });
  return conn;
}

async function describes(conn) {
  await step("describe global", async () => {
    const names = (await conn.describeGlobal()).sobjects.map((o) => o.name);
    assert.ok(names.includes("Contact"));
  });
  await step("describe", async () => {
    const told = await conn.sobject("Contact").describe();
    assert.equal(told.fields.find((f) => f.name === "Customer_Id__c").externalId, true);
  });
  await step("recent", async () => assert.deepEqual(await conn.recent(), []));
  await step("tabs", async () => assert.deepEqual(await conn.tabs(), []));
}

async function rows(conn) {
  const id = await step("create one", async () => {
    const made = await conn.sobject("Account").create({ Name: "Acme", Account_Id__c: "A-1" });
    assert.equal(made.success, true);
    return made.id;
  });
  await step("retrieve one", async () => {
    assert.equal((await conn.sobject("Account").retrieve(id)).Name, "Acme");
  });
  await step("update one", async () => {
    assert.equal((await conn.sobject("Account").update({ Id: id, Name: "Acme Ltd" })).success, true);
  });
  await step("upsert one that is there", async () => {
    const found = await conn.sobject("Account").upsert({ Name: "Acme", Account_Id__c: "A-1" }, "Account_Id__c");
    assert.deepEqual([found.success, found.id], [true, id]);
  });
  await step("upsert one that is new", async () => {
    const found = await conn.sobject("Account").upsert({ Name: "Best", Account_Id__c: "A-2" }, "Account_Id__c");
    assert.equal(found.success, true);
  });
  const many = await step("create 250, in two calls", async () => {
    const records = Array.from({ length: 250 }, (_, i) => ({ LastName: i === 7 ? "" : `L${i}`, Customer_Id__c: `C-${i}` }));
    const found = await conn.sobject("Contact").create(records, { allowRecursive: true });
    assert.equal(found.length, 250);
    assert.equal(found[7].success, false);
    assert.equal(found[7].errors[0].statusCode, "REQUIRED_FIELD_MISSING");
    return found.filter((r) => r.success).map((r) => r.id);
  });
  await step("all or none", async () => {
    const records = [{ LastName: "Ito" }, { FirstName: "Kei" }];
    const found = await conn.sobject("Contact").create(records, { allOrNone: true });
    const codes = found.map((r) => r.errors[0].statusCode);
    assert.deepEqual(codes, ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]);
  });
  await step("update several", async () => {
    const found = await conn.sobject("Contact").update(many.slice(0, 3).map((Id) => ({ Id, Email: "a@example.com" })));
    assert.deepEqual(found.map((r) => r.success), [true, true, true]);
  });
  await step("upsert several", async () => {
    const records = ["C-1", "C-new"].map((k) => ({ Customer_Id__c: k, LastName: "Ode" }));
    const found = await conn.sobject("Contact").upsert(records, "Customer_Id__c");
    assert.deepEqual(found.map((r) => r.created), [false, true]);
  });
  await step("retrieve several", async () => {
    const found = await conn.sobject("Contact").retrieve(many.slice(0, 3));
    assert.deepEqual(found.map((r) => r.Id), many.slice(0, 3));
  });
  await step("updated", async () => {
    const [start, end] = [new Date(Date.now() - 600e3), new Date(Date.now() + 120e3)];
    assert.ok((await conn.sobject("Account").updated(start, end)).ids.includes(id));
  });
  await step("destroy several", async () => {
    const found = await conn.sobject("Contact").destroy(many.slice(3, 5));
    assert.deepEqual(found.map((r) => r.success), [true, true]);
  });
  await step("deleted", async () => {
    const [start, end] = [new Date(Date.now() - 600e3), new Date(Date.now() + 120e3)];
    assert.equal((await conn.sobject("Contact").deleted(start, end)).deletedRecords.length, 2);
  });
  await step("destroy one", async () => {
    const other = await conn.sobject("Account").create({ Name: "Gone" });
    assert.equal((await conn.sobject("Account").destroy(other.id)).success, true);
  });
}

async function queries(conn) {
  await step("query", async () => {
    const found = await conn.query("SELECT Id, LastName FROM Contact WHERE Customer_Id__c = 'C-1'");
    assert.deepEqual([found.totalSize, found.done, found.records[0].LastName], [1, true, "Ode"]);
  });
  await step("query, page by page", async () => {
    const options = { headers: { "Sforce-Query-Options": "batchSize=200" } };
    const first = await conn.request({ method: "GET", url: `/query?q=${encodeURIComponent("SELECT Id FROM Contact")}`, ...options });
    assert.equal(first.done, false);
    const rest = await conn.queryMore(first.nextRecordsUrl);
    assert.equal(first.records.length + rest.records.length, first.totalSize);
  });
  await step("find", async () => {
    const found = await conn.sobject("Contact").find({ LastName: { $like: "L1%" } }, ["Id", "LastName"]).sort({ LastName: -1 }).limit(3);
    assert.deepEqual(found.map((r) => r.LastName), ["L199", "L198", "L197"]);
  });
  await step("count", async () => {
    assert.equal(await conn.sobject("Contact").count(), 248);
  });
  await step("query with deleted records", async () => {
    const found = await conn.query("SELECT Id FROM Contact", { scanAll: true, autoFetch: true });
    assert.equal(found.totalSize, 250);
  });
  await step("explain", async () => {
    const found = await conn.query("SELECT Id FROM Contact WHERE LastName = 'Ode'").explain();
    assert.equal(found.plans[0].leadingOperationType, "TableScan");
  });
  await step("tooling query", async () => {
    assert.equal((await conn.tooling.query("SELECT Id FROM ApexClass")).totalSize, 0);
  });
  await step("composite", async () => {
    const url = `/services/data/v${VERSION}/sobjects/Account`;
    const found = await conn.requestPost("/composite", {
      allOrNone: true,
      compositeRequest: [
        { method: "POST", url, referenceId: "a", body: { Name: "Made" } },
        { method: "GET", url: `${url}/@{a.id}?fields=Name`, referenceId: "b" },
      ],
    });
    assert.equal(found.compositeResponse[1].body.Name, "Made");
  });
}

async function bulk2(conn) {
  conn.bulk2.pollInterval = 50;
  conn.bulk2.pollTimeout = 60000;
  await step("bulk2 insert", async () => {
    const input = [{ LastName: "Bulk", Customer_Id__c: "B-1", Email: null }, { LastName: "", Customer_Id__c: "B-2" }];
    const found = await conn.bulk2.loadAndWaitForResults({ object: "Contact", operation: "insert", input });
    assert.deepEqual([found.successfulResults.length, found.failedResults.length, found.unprocessedRecords.length], [1, 1, 0]);
    assert.match(found.failedResults[0].sf__Error, /^REQUIRED_FIELD_MISSING:/);
  });
  const ids = await step("bulk2 upsert of 3,000 rows", async () => {
    const input = Array.from({ length: 3000 }, (_, i) => ({ Customer_Id__c: `B-${i}`, LastName: `U "${i}", x` }));
    const job = { object: "Contact", operation: "upsert", externalIdFieldName: "Customer_Id__c", input };
    const found = await conn.bulk2.loadAndWaitForResults(job);
    assert.equal(found.successfulResults.length, 3000);
    assert.equal(found.successfulResults.filter((r) => r.sf__Created === "false").length, 1);
    return found.successfulResults.map((r) => r.sf__Id);
  });
  await step("bulk2 query", async () => {
    const stream = await conn.bulk2.query("SELECT Id, LastName FROM Contact WHERE Customer_Id__c LIKE 'B-%'");
    const found = await stream.toArray();
    assert.equal(found.length, 3000);
    assert.ok(found.some((r) => r.LastName === 'U "17", x'));
  });
  await step("bulk2 delete", async () => {
    const input = ids.slice(0, 10).map((Id) => ({ Id }));
    const found = await conn.bulk2.loadAndWaitForResults({ object: "Contact", operation: "delete", input });
    assert.equal(found.successfulResults.length, 10);
  });
  return ids;
}

async function bulk1(conn, ids) {
  conn.bulk.pollInterval = 50;
  conn.bulk.pollTimeout = 60000;
  await step("bulk 1.0 insert", async () => {
    const found = await conn.bulk.load("Contact", "insert", [{ LastName: "One", FirstName: "Bo" }, { FirstName: "Kei" }, { LastName: "Two" }]);
    assert.deepEqual(found.map((r) => r.success), [true, false, true]);
    assert.match(found[1].errors[0], /REQUIRED_FIELD_MISSING/);
  });
  await step("bulk 1.0 update", async () => {
    const found = await conn.bulk.load("Contact", "update", ids.slice(10, 12).map((Id) => ({ Id, LastName: "Three" })));
    assert.deepEqual(found.map((r) => r.id), ids.slice(10, 12));
  });
  await step("bulk 1.0 query", async () => {
    const found = await (await conn.bulk.query("SELECT Id, LastName FROM Contact WHERE LastName = 'Three'")).toArray();
    assert.equal(found.length, 2);
  });
}

async function errors(conn) {
  await step("an unknown field", () => assert.rejects(conn.query("SELECT Nope FROM Contact"), refused("INVALID_FIELD")));
  await step("an unknown record", () =>
    assert.rejects(conn.sobject("Contact").retrieve("003000000000000AAA"), refused("NOT_FOUND")));
  await step("a missing field", () =>
    assert.rejects(conn.sobject("Contact").create({ FirstName: "Kei" }), refused("REQUIRED_FIELD_MISSING")));
  await step("a session that died is renewed", async () => {
    const form = { grant_type: "password", username: ORG_USERNAME, password: ORG_PASSWORD + ORG_TOKEN };
    let renewed = 0;
    const other = new jsforce.Connection({
      instanceUrl: ORG_URL,
      accessToken: "dead",
      version: VERSION,
      refreshFn: async (c, callback) => {
        renewed += 1;
        const found = await new jsforce.OAuth2(app).authenticate(form.username, form.password);
        callback(null, found.access_token);
      },
    });
    assert.equal((await other.query("SELECT Id FROM Organization")).totalSize, 1);
    assert.equal(renewed, 1);
  });
  await step("sign out", async () => {
    await conn.logout();
  });
}

async function main() {
  const conn = await signIn();
  await describes(conn);
  await rows(conn);
  await queries(conn);
  const ids = await bulk2(conn);
  await bulk1(conn, ids);
  await errors(conn);
  console.log(JSON.stringify(done));
}

main().catch((error) => {
  console.error(error.stack, error.cause ? `\n${error.cause.stack}` : "");
  process.exitCode = 1;
});
