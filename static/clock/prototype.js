// Empty on purpose. On browsers that call themselves KHTML (that is, all but Firefox) the document
// of backend.php adds a script named prototype.js, for the sake of pages from the year 2007 that
// count on it. Our own clock does not; this file only answers the question.
