// On `/docs`, where people try the server: who can sign in at the stand-in Library, and with a click the token of one of
// them for all calls. `page` is the Swagger UI that the page has made; it takes no token before `documentIsRead`.

import { LibraryError, authTokenOf, people } from "./library.js";

const bar = document.createElement("p");
const said = document.createElement("output");
bar.style.cssText = "font: 14px sans-serif; margin: 1em auto 0; max-width: 1420px; padding: 0 20px";

async function signIn({ login, fullName }) {
  try {
    const token = await authTokenOf(login, login);
    await documentIsRead;
    page.preauthorizeApiKey("AuthToken", token);
    said.textContent = ` Calls are made as ${fullName}.`;
  } catch (problem) {
    if (!(problem instanceof LibraryError)) throw problem;
    said.textContent = ` ${problem.message}`;
  }
}

const buttons = (await people()).map((person) => {
  const button = document.createElement("button");
  button.textContent = person.fullName;
  button.addEventListener("click", () => signIn(person));
  return button;
});
if (buttons.length > 0) {
  bar.append("Sign in at the stand-in Library: ", ...buttons.flatMap((button) => [button, " "]), said);
  document.body.prepend(bar);
}
