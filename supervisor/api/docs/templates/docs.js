"use strict";
for (const code of document.querySelectorAll("pre > code")) {
  code.textContent = code.textContent.replaceAll("$URL", location.origin);
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  code.parentElement.append(button);
}
document.getElementById("sign-out").addEventListener("click", async (event) => {
  event.preventDefault();
  await fetch("/session", { method: "DELETE" });
  location.reload();
});
