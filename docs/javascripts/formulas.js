// Typesets what `pymdownx.arithmatex` marked: \( ... \) within a line, \[ ... \] on lines of its own.
document$.subscribe(() => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const source = element.textContent.trim();
    if (!/^\\[([]/.test(source)) continue; // typeset before
    katex.render(source.slice(2, -2), element, {
      displayMode: source.startsWith("\\["),
      throwOnError: false, // a formula with a fault is shown in red, and the others are typeset
    });
  }
});
