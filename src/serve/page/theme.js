// Sets the chosen theme before the page is drawn. A plain script: modules run after the first drawing.
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem("chargru.theme"));
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage the system's choice holds.
  }
})();
