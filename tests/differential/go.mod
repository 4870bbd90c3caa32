module differential

go 1.18
