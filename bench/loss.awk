# Samples (loss, round trip, variant, seed, megabits, complete, ...) -> medians, and ratios to the kernel's.

BEGIN { FS = "\t" }

{
    cell = $1 FS $2
    if (!(cell in known)) { cells[++cell_count] = cell; known[cell] }
    samples[cell, $3, ++count[cell, $3]] = $5
    if (!$6) cut++
    strays += $8
}

function median(cell, variant,    n, i, j, swap, sorted) {
    n = count[cell, variant]
    if (!n) return ""
    for (i = 1; i <= n; i++) sorted[i] = samples[cell, variant, i] + 0
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) { swap = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = swap }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function ratio(cell, variant,    ours, theirs) {
    ours = median(cell, variant); theirs = median(cell, "kernel")
    if (ours == "" || !theirs) return "-"
    total++
    if (ours / theirs < 0.95) below++
    else if (ours / theirs > 1.02) better++
    return sprintf("%.2f%s", ours / theirs, ours / theirs < 0.95 ? "*" : " ")
}

END {
    printf "\n%8s %8s %6s %12s %15s %15s %15s\n", "loss", "rtt", "seeds", "Linux", "shunt", "shunt", "shunt"
    printf "%8s %8s %6s %12s %15s %15s %15s\n", "%", "ms", "", "Mb/s", "sends", "receives", "both"
    for (c = 1; c <= cell_count; c++) {
        cell = cells[c]; split(cell, part, FS)
        printf "%8s %8s %6d %12.2f %15s %15s %15s\n", part[1], part[2], count[cell, "kernel"], median(cell, "kernel"),
            ratio(cell, "client"), ratio(cell, "server"), ratio(cell, "both")
    }
    printf "\nMedians over the seeds, as ratios to Linux at both ends. %d of %d are below 0.95 (*), %d above 1.02.\n", below, total, better
    if (cut) printf "%d transfers took too long and were cut off; they count with what had arrived.\n", cut
    if (strays) printf "%d packets were lost by the relay itself.\n", strays
}
