"""Families of MAE checkpoints, one a file. To add one, write its file and a line in the table of
`stages.density.mae_checkpoints`."""
