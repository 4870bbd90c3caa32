module ramet/bench

go 1.22
