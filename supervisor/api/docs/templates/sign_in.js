"use strict";
const form = document.getElementById("sign-in");
const said = document.getElementById("said");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch("/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: form.token.value.trim() }),
    });
    if (answer.ok) {
      location.reload();
      return;
    }
    said.textContent = answer.status === 401 ? "That is not the token." : (await answer.json()).detail;
  } catch {
    said.textContent = "The server does not answer.";
  } finally {
    button.disabled = false;
  }
  form.token.select();
});
