// The commands on this page should work when they are pasted, wherever the server runs.
for (const place of document.querySelectorAll(".origin")) {
  place.textContent = location.origin;
}
