"""What feedback says about answers: votes, comparisons, raters, exposure, similar texts and the groups they form."""
