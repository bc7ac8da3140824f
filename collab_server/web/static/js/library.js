// Library, as far as the page needs it: signing in, an identity token, and what there is to look at. The two lists are
// the stand-in's own (`/standin/…`), for the page is there to try the server with.
//
// The browser keeps one Library cookie for all windows, and another person may sign in in the next one. So everything
// is asked right after signing in, and from then on the page lives on the server's resumeToken alone.

const BASE = document.querySelector('meta[name="library"]')?.content ?? "/MicroStrategyLibrary";
const TIMEOUT_MS = 10_000;

/** What Library refused, or that it did not answer: `code` is `unknown`, `silent` or `error`; `message` is for people. */
export class LibraryError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    Object.assign(this, { code, status });
  }
}

/** Who can sign in: `[{login, fullName, initials, id}]`; nobody where Library does not say. */
export async function people() {
  try {
    return await (await call("GET", "/standin/people")).json();
  } catch {
    return [];
  }
}

/** Sign in, and return an auth token, which is good until that session ends. Throws LibraryError. */
export async function authTokenOf(username, password) {
  const login = await call("POST", "/api/auth/login", { body: { username, password, loginMode: 1 } });
  return login.headers.get("X-MSTR-AuthToken");
}

/**
 * Sign in, and return `{identityToken, dashboards}`; a dashboard is `{id, name, projectId, projectName}`.
 * Throws LibraryError.
 */
export async function signIn(username, password) {
  const authToken = await authTokenOf(username, password);
  const [identity, dashboards] = await Promise.all([
    call("POST", "/api/auth/identityToken", { authToken }),
    call("GET", "/standin/dashboards", { authToken }),
  ]);
  return { identityToken: identity.headers.get("X-MSTR-IdentityToken"), dashboards: await dashboards.json() };
}

async function call(method, path, { authToken, body } = {}) {
  const headers = { Accept: "application/json" };
  if (authToken) headers["X-MSTR-AuthToken"] = authToken;
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new LibraryError("silent", "Library does not answer. Try again in a moment.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) throw new LibraryError("unknown", "Library does not know this name and password.");
  throw new LibraryError("error", `Library answered with an error (${answer.status}).`, answer.status);
}
