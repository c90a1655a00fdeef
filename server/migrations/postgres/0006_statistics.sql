-- Which scopes are large is old news when a plan is made: a scope that statistics do not know counted as one of a row or none, any index that
-- begins with the scope seemed good enough, and every push read the whole of it. Without statistics scopes are alike, and keys decide.
ALTER TABLE rows ALTER COLUMN scope SET STATISTICS 0;
ALTER TABLE receipts ALTER COLUMN scope SET STATISTICS 0;
ALTER TABLE clients ALTER COLUMN scope SET STATISTICS 0;
ALTER TABLE ids ALTER COLUMN scope SET STATISTICS 0;
ALTER TABLE unresolved ALTER COLUMN scope SET STATISTICS 0;
ALTER TABLE waiting ALTER COLUMN scope SET STATISTICS 0;
ALTER TABLE claims ALTER COLUMN scope SET STATISTICS 0;
